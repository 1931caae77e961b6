"""Observation -> subtasks, motion plan, action chunk: the protocol that every policy speaks, and the simple ones."""

from vlm2vla.policy.protocol import (
    ChunkReady,
    Driving,
    GaveUp,
    ParseFailed,
    PlanReady,
    Policy,
    PolicyEvent,
    Streaming,
    SubtasksReady,
    Verdict,
    Verifier,
)
from vlm2vla.policy.replay import ReplayPolicy
from vlm2vla.policy.scripted import Script, ScriptedPolicy, ScriptedVerifier
from vlm2vla.policy.typed import TypedPolicy
from vlm2vla.policy.verifiers import KinematicVerifier, VLMVerifier
from vlm2vla.policy.vlm import VLMPolicy, messages_of, turned_round

__all__ = [
    "ChunkReady",
    "Driving",
    "GaveUp",
    "KinematicVerifier",
    "ParseFailed",
    "PlanReady",
    "Policy",
    "PolicyEvent",
    "ReplayPolicy",
    "Script",
    "ScriptedPolicy",
    "ScriptedVerifier",
    "Streaming",
    "SubtasksReady",
    "TypedPolicy",
    "VLMPolicy",
    "VLMVerifier",
    "Verdict",
    "Verifier",
    "messages_of",
    "turned_round",
]
