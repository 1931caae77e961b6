"""Driving one robot for people who look on: who may drive, what is asked, what happens, and how it is kept. No page."""

from vlm2vla.driving.service import DriveService

__all__ = ["DriveService"]
