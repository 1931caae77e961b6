"""A server on this computer that speaks the Gemini REST API, with faults on demand. Standard library only.

    python tests/vlm/gemini_server.py --port 8900 --fault-rate 0.2 --seed 0 --log replies.jsonl
    GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8900 GEMINI_API_KEY=test python -m vlm2vla annotate --annotator gemini

Its answers follow from the request: the subtasks lie within the steps that the prompt names and change where the
gripper of the path table changes. The log has one JSON line per request: what was asked (a digest), what was sent
back, and whether it was a paid reply that reached the client.
"""

import argparse
import hashlib
import itertools
import json
import random
import re
import select
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAULTS = ("429", "500", "503", "hang", "truncated", "max_tokens", "safety", "blocked", "schema", "cut")
# Faults whose reply is complete and therefore paid, though useless.
PAID_FAULTS = ("truncated", "max_tokens", "safety", "blocked", "schema")


class GeminiServer:
    """Serves in threads of its own; `with GeminiServer() as server: server.url`.

    Attributes:
        log: One dict per request, in the order of their ends.
        script: Faults for the next generateContent requests ("" for a good answer), used before the random ones.
    """

    def __init__(self, *, port=0, fault_rate=0.0, faults=FAULTS, seed=0, latency_s=0.0, retry_delay_s=0.2, hang_s=1.0):
        self.fault_rate, self.faults, self.latency_s = fault_rate, tuple(faults), latency_s
        self.retry_delay_s, self.hang_s = retry_delay_s, hang_s
        self.retry_info = True  # False: a 429 says how long in a Retry-After header
        self.model_version = ""  # answers with the model that was asked, unless set
        self.script: list[str] = []
        self.log: list[dict] = []
        self.bodies: list[dict] = []
        self.log_path: Path | None = None
        self.under_way = self.most_under_way = 0
        self._random, self._lock = random.Random(seed), threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._http = _QuietServer(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()

    def serve_forever(self):
        self._http.serve_forever()

    def next_fault(self) -> str:
        with self._lock:
            if self.script:
                return self.script.pop(0)
            return self._random.choice(self.faults) if self._random.random() < self.fault_rate else ""

    def enter(self, step: int) -> None:
        with self._lock:
            self.under_way += step
            self.most_under_way = max(self.most_under_way, self.under_way)

    def record(self, row: dict, body: dict) -> None:
        with self._lock:
            self.log.append(row)
            self.bodies.append(body)

    def write(self, row: dict) -> None:
        if self.log_path:
            with self._lock, open(self.log_path, "a") as file:
                file.write(json.dumps(row) + "\n")

    def paid(self, kind: str | None = None) -> list[dict]:
        """Delivered replies that cost money."""
        return [row for row in self.log if row["paid"] and (kind is None or row["kind"] == kind)]


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that are killed or give up are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: GeminiServer

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = camel(json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"))
        match = re.match(r"/v1(?:beta)?/models/([^:/]+):(\w+)", self.path)
        if not match:
            return self.reply(404, _error(404, "NOT_FOUND", self.path))
        if not self.headers.get("x-goog-api-key"):
            return self.reply(403, _error(403, "PERMISSION_DENIED", "no API key"))
        model, method = match.groups()
        if method == "countTokens":
            self.fake.record(self.row("count", body), body)
            return self.reply(200, {"totalTokens": input_tokens(body)})
        if method != "generateContent":
            return self.reply(404, _error(404, "NOT_FOUND", self.path))
        self.fake.enter(+1)
        try:
            return self.generate(model, body)
        finally:
            self.fake.enter(-1)

    def generate(self, model: str, body: dict) -> None:
        fault = self.fake.next_fault()
        time.sleep(self.fake.latency_s)
        if wrong := wrong_settings(model, body):
            fault, status, answer = "bad request", 400, _error(400, "INVALID_ARGUMENT", wrong)
        elif fault == "429":
            status = 429
            answer = (
                quota_error(self.fake.retry_delay_s) if self.fake.retry_info else _error(429, "RESOURCE_EXHAUSTED", "")
            )
        elif fault in ("500", "503"):
            status, answer = int(fault), _error(int(fault), "INTERNAL", "injected fault")
        else:
            status, answer = 200, generated(fault, body, self.fake.model_version or model)
        if fault == "hang":
            time.sleep(self.fake.hang_s)
        row = self.row(kind_of(body), body) | {"status": status, "fault": fault}
        row["paid"] = status == 200 and fault not in ("hang", "cut")
        row["usage"] = answer.get("usageMetadata")
        # Noted before it is sent, so that a client that has the reply finds it noted.
        self.fake.record(row, body)
        if fault in ("hang", "cut"):
            row["delivered"] = False
            self.cut(answer if fault == "cut" else None)
        elif not self.reply(status, answer):
            row["delivered"] = row["paid"] = False
        self.fake.write(row)

    def row(self, kind: str, body: dict) -> dict:
        digest = hashlib.sha1(json.dumps(body["contents"], sort_keys=True).encode()).hexdigest()[:12]
        key = {"path": self.path, "kind": kind, "key": digest, "episode": episode_key(body)}
        return key | {"status": 200, "fault": "", "delivered": True, "paid": False, "at": time.time()}

    def reply(self, status: int, answer: dict) -> bool:
        """Send a reply; False when the client is not there any more."""
        raw = json.dumps(answer).encode()
        if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
            self.close_connection = True
            return False
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            if status == 429:
                self.send_header("Retry-After", f"{self.fake.retry_delay_s:g}")
            self.end_headers()
            self.wfile.write(raw)
        except OSError:
            self.close_connection = True
            return False
        return True

    def cut(self, answer: dict | None) -> None:
        """Close without a reply, or in the middle of one."""
        self.close_connection = True
        if answer is not None:
            raw = json.dumps(answer).encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw[: len(raw) // 2])
        self.connection.shutdown(socket.SHUT_RDWR)


def camel(value):
    """Names as the API documents them: it takes both spellings, and the SDK mixes them."""
    if isinstance(value, dict):
        return {re.sub(r"_([a-z])", lambda m: m[1].upper(), name): camel(entry) for name, entry in value.items()}
    return [camel(entry) for entry in value] if isinstance(value, list) else value


def generated(fault: str, body: dict, model: str) -> dict:
    """A GenerateContentResponse, good or with a fault."""
    answer = answer_of(body)
    if fault == "schema" and "subtasks" in answer:
        answer["subtasks"][-1]["end_step"] += 1000
    elif fault == "schema":
        del answer["events"]
    text = json.dumps(answer)
    if fault in ("truncated", "max_tokens"):
        text = text[: len(text) // 2]
    reason = {"max_tokens": "MAX_TOKENS", "safety": "SAFETY"}.get(fault, "STOP")
    content = {"role": "model", "parts": [{"text": text}]} if fault != "safety" else {}
    written = 0 if fault in ("safety", "blocked") else len(text) // 4 + 1
    thought = 0 if fault == "blocked" else 100
    read = input_tokens(body)
    reply = {
        "usageMetadata": {
            "promptTokenCount": read,
            "candidatesTokenCount": written,
            "thoughtsTokenCount": thought,
            "totalTokenCount": read + written + thought,
        },
        "modelVersion": model,
    }
    if fault == "blocked":
        return reply | {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    return reply | {"candidates": [{"content": content, "finishReason": reason, "index": 0}]}


def answer_of(body: dict) -> dict:
    """A plausible answer to the prompts of the annotator; to anything else an object of one text."""
    text = text_of(body)
    rows = path_rows(text)
    task = re.search(r"<task>\"(.*?)\"</task>", text, re.S)
    name = (task.group(1) if task else "task")[:60]
    kind = kind_of(body)
    if kind == "describe":
        events = [{"step": rows[0][0], "what": f"The gripper begins to {name}."}]
        return {"objects": ["object"], "events": events, "task_done": True}
    if kind == "segment":
        first, end = (
            int(value) for value in re.search(r"starts at step (\d+); the last one ends at step (\d+)", text).groups()
        )
        return {"subtasks": subtasks_of(rows, first, end, name)}
    return {"text": f"{len(text)} characters"}


def subtasks_of(rows: list[tuple], first: int, end: int, name: str) -> list[dict]:
    """Spans that change where the gripper of the path table does."""
    bounds = [first] + [now[0] for before, now in itertools.pairwise(rows) if before[4] != now[4]] + [end]
    bounds = sorted({bound for bound in bounds if first <= bound <= end})
    subtasks = []
    for number, (start, stop) in enumerate(itertools.pairwise(bounds), 1):
        inside = [row for row in rows if start <= row[0] <= stop] or rows
        verb = "Begin to" if number == 1 else "Go on to"
        plan = directions(inside[0][1:4], inside[-1][1:4])
        subtasks.append({"subtask": f"{verb} {name}", "motion_plan": plan, "start_step": start, "end_step": stop})
    return subtasks


def directions(start: tuple, stop: tuple) -> str:
    names = (("back", "forward"), ("right", "left"), ("down", "up"))
    moved = [(abs(b - a), pair[b > a]) for a, b, pair in zip(start, stop, names, strict=True) if abs(b - a) >= 1.0]
    return "move " + " and ".join(name for _, name in sorted(moved, reverse=True)[:2]) if moved else "hold still"


def path_rows(text: str) -> list[tuple]:
    """(step, x, y, z, gripper) of the path table."""
    number = r"(-?\d+\.\d)"
    pattern = rf"^(\d+) \d+\.\d {number} {number} {number}(?: {number} {number} {number})? (open|closed) \d\.\d$"
    found = re.findall(pattern, text, re.M)
    return [(int(row[0]), *(float(value) for value in row[1:4]), row[-1]) for row in found]


def text_of(body: dict) -> str:
    return "\n".join(part.get("text", "") for content in body["contents"] for part in content["parts"])


def kind_of(body: dict) -> str:
    properties = body.get("generationConfig", {}).get("responseSchema", {}).get("properties", {})
    return "segment" if "subtasks" in properties else "describe" if "events" in properties else "other"


def episode_key(body: dict) -> str:
    """Digest of task and path: the same for both passes over one episode."""
    text = text_of(body)
    task = re.search(r"<task>(.*?)</task>", text, re.S)
    return hashlib.sha1(f"{task and task.group(1)}{path_rows(text)}".encode()).hexdigest()[:12]


def input_tokens(body: dict) -> int:
    images = sum("inlineData" in part for content in body["contents"] for part in content["parts"])
    return 258 * images + len(text_of(body)) // 4


def wrong_settings(model: str, body: dict) -> str:
    """What the real API answers 400 to."""
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    if "thinkingLevel" in thinking and ("thinkingBudget" in thinking or "-2.5-" in model):
        return "Thinking level is not supported for this model."
    return ""


def quota_error(delay_s: float) -> dict:
    error = _error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.")
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{delay_s:g}s"}
    error["error"]["details"] = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure"}, info]
    return error


def _error(code: int, status: str, message: str) -> dict:
    return {"error": {"code": code, "status": status, "message": message}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--faults", default=",".join(FAULTS), help="which ones, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds before each reply")
    parser.add_argument("--retry-delay", type=float, default=0.5, help="what a 429 asks to wait, seconds")
    parser.add_argument("--hang", type=float, default=1.0, help="seconds before a hanging reply is cut off")
    parser.add_argument("--log", type=Path, default=None, help="JSON lines, one per request")
    args = parser.parse_args()
    server = GeminiServer(
        port=args.port,
        fault_rate=args.fault_rate,
        faults=args.faults.split(","),
        seed=args.seed,
        latency_s=args.latency,
        retry_delay_s=args.retry_delay,
        hang_s=args.hang,
    )
    server.log_path = args.log
    print(f"serving on {server.url}", flush=True)  # noqa: T201
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print(f"{len(server.log)} requests, {len(server.paid())} paid replies")  # noqa: T201


if __name__ == "__main__":
    main()
