"""A device file with a program behind it: the end that a driver opens is a pseudo-terminal."""

import contextlib
import os
import pty
import select
import threading
import tty
from pathlib import Path


class PseudoTerminal:
    """Bytes written to `link` arrive at `feed`; `write` answers. `unplug` takes the device away, like a loose cable."""

    def __init__(self, link: Path):
        self.link = Path(link)
        self.received = b""
        self.mute = False  # hears everything, answers nothing
        self.delay_s = 0.0  # before every answer
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._slave))
        self._open = True
        self._thread = threading.Thread(target=self._serve, name=f"emulated {self.link.name}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._open:
            if not select.select([self._master], [], [], 0.2)[0]:
                continue
            with contextlib.suppress(OSError):
                self.received += os.read(self._master, 4096)
                self.feed()

    def feed(self) -> None:
        """Handle what is in `received`."""
        raise NotImplementedError

    def write(self, answer: bytes) -> None:
        if self.delay_s:
            threading.Event().wait(self.delay_s)
        if not self.mute:
            os.write(self._master, answer)

    def unplug(self) -> None:
        self.close()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._thread.join()
            self.link.unlink(missing_ok=True)
            os.close(self._slave)
            os.close(self._master)
