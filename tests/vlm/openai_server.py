"""A server on this computer that speaks the OpenAI chat protocol, as able as a test wants. Standard library only."""

import json
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OpenAIServer:
    """Answers with fixed words; `with OpenAIServer() as server: server.url`.

    Attributes:
        can: What it does: "images" (its answers and their probabilities depend on the last one), "logprobs", "grammar",
            "continues", "scores". Of the rest, images and begun answers are refused; what else is asked is ignored
            silently, as servers do, and so are images with "swallows".
        fault: "", "hang", "500", "401", "400", "garbage": what happens to the next questions.
        bodies: What was asked.
        keys: The Authorization headers.
    """

    def __init__(self, words=("It ", "is ", "réd", "."), can=("images", "logprobs", "grammar", "continues", "scores")):
        self.words, self.can, self.fault = words, set(can), ""
        self.bodies, self.keys, self.released = [], [], threading.Event()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    fake: OpenAIServer

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._json({"object": "list", "data": [{"id": name, "object": "model"} for name in ("base", "lora")]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.fake.bodies.append(body)
        self.fake.keys.append(self.headers.get("Authorization"))
        if self.fake.fault in ("500", "401", "400"):
            return self._json({"error": {"message": "no luck today"}}, int(self.fake.fault))
        if body["model"] not in ("base", "lora"):
            return self._json({"error": {"message": f"The model `{body['model']}` does not exist."}}, 404)
        shown = [
            part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
        ]
        pictures = [part["image_url"]["url"] for part in shown if part["type"] == "image_url"]
        if pictures and not self.fake.can & {"images", "swallows"}:
            return self._json({"error": {"message": "this model takes no images"}}, 400)
        if body.get("continue_final_message") and "continues" not in self.fake.can:
            return self._json({"error": {"message": "extra field continue_final_message"}}, 422)
        words = self._words(body)
        self.seen = zlib.crc32(pictures[-1].encode()) % 1000 if pictures and "images" in self.fake.can else 0
        if self.seen:
            words = (*words[:-1], f"{words[-1]} ({self.seen})")
        return self._stream(words, body) if body.get("stream") else self._whole(words, body)

    def _words(self, body):
        grammar = body.get("structured_outputs", {}).get("grammar", "")
        if grammar and "grammar" in self.fake.can:
            return (grammar.split('"')[1],)
        return self.fake.words[: body["max_tokens"]]

    def _logprobs(self, words, body):
        if "logprobs" not in self.fake.can or not body.get("logprobs"):
            return None
        top = [{"token": "x", "logprob": -3.0, "bytes": None}] * body.get("top_logprobs", 0)
        sure = -0.5 - self.seen / 1000
        return {
            "content": [{"token": w, "logprob": sure, "bytes": list(w.encode()), "top_logprobs": top} for w in words]
        }

    def _whole(self, words, body):
        message = {"role": "assistant", "content": "".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "length", "logprobs": self._logprobs(words, body)}
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice]}
        if "prompt_logprobs" in body and "scores" in self.fake.can:
            told = body["messages"][-1]["content"].split(" ")
            pieces = [told[0], *(f" {word}" for word in told[1:])]
            rows = [{"7": {"logprob": -1.0 - place, "decoded_token": piece}} for place, piece in enumerate(pieces)]
            reply["prompt_logprobs"] = [None, {"5": {"logprob": -9.0, "decoded_token": "model"}}, *rows]
        self._json(reply)

    def _stream(self, words, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for place, word in enumerate(words):
            if self.fake.fault and place == 2:
                if self.fake.fault == "hang":
                    self.fake.released.wait(30)
                elif self.fake.fault == "garbage":
                    self.wfile.write(b"data: {nonsense\n\n")
                return
            choice = {
                "index": 0,
                "delta": {"content": word},
                "finish_reason": None,
                "logprobs": self._logprobs([word], body),
            }
            self._event({"choices": [choice]})
            time.sleep(0.01)
        done = "length" if len(words) == body["max_tokens"] else "stop"
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": done, "logprobs": None}]})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, row):
        whole = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "base"} | row
        self.wfile.write(f"data: {json.dumps(whole)}\n\n".encode())
        self.wfile.flush()

    def _json(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
