"""One sub-command per stage, made from the configs. The only package that prints.

Progress and reports for people go to standard error; with --json the last line on standard output is one JSON object.
Exit status: 0 done; 1 an error that is said in one line, or
work that stopped early or failed as a whole; 2 wrong arguments; 130 interrupted.

A group of commands is a file with its own COMMANDS; all of them meet in this one registry.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

import tyro

from vlm2vla.cli import robots
from vlm2vla.cli.console import Done, say
from vlm2vla.errors import VLM2VLAError

Commands = Mapping[str, "Callable[..., Done] | Commands"]


def commands_for(name: str) -> Commands:
    """Commands by name; a table of further commands in place of one is a group ("evaluate vqa").

    A robot's own computer has what `robots` needs and little else, so for those commands nothing else is loaded.
    """
    if name in robots.COMMANDS:
        return robots.COMMANDS
    from vlm2vla.cli import evaluate, labels, models, pretraining, serving, training

    return {
        **labels.COMMANDS,
        **robots.COMMANDS,
        **pretraining.COMMANDS,
        **training.COMMANDS,
        **serving.COMMANDS,
        "models": models.COMMANDS,
        "evaluate": evaluate.COMMANDS,
    }


def main(argv: list[str] | None = None) -> None:
    """Run one command; ends the process with its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    as_json = "--json" in arguments
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        commands = commands_for(arguments[0] if arguments else "")
        done = _run(commands, arguments, "vlm2vla", "Actions as language, from episodes to a policy.")
    except VLM2VLAError as error:
        say(f"{type(error).__name__}: {error}")
        done = _failed(type(error).__name__, str(error), 1)
    except KeyboardInterrupt:
        say("Interrupted; nothing that was finished is lost.")
        done = _failed("Interrupted", "nothing that was finished is lost; run the same command again", 130)
    except SystemExit as error:  # --help, or arguments that tyro has explained already
        done = _failed("UsageError", "wrong arguments; standard error says which", 2)
        as_json, done = as_json and error.code == 2, replace(done, status=int(error.code or 0))
    except BrokenPipeError:
        _no_more_output()
        as_json, done = False, Done({}, 1)
    try:
        if as_json:
            print(json.dumps(done.report, ensure_ascii=False), flush=True)
    except BrokenPipeError:
        _no_more_output()
    sys.exit(done.status)


def _no_more_output() -> None:
    """Whoever read the output has enough of it, as `| head` has; without this Python complains when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(commands: Commands, arguments: list[str], program: str, description: str) -> Done:
    """Find the command, in its group where it is in one, and run it."""
    name = arguments[0] if arguments else ""
    group = commands.get(name)
    if isinstance(group, Mapping):
        return _run(group, arguments[1:], f"{program} {name}", f"One of: {', '.join(group)}.")
    flat = {name: _group(entry) if isinstance(entry, Mapping) else entry for name, entry in commands.items()}
    return tyro.extras.subcommand_cli_from_dict(flat, prog=program, description=description, args=arguments)


def _group(commands: Commands) -> Callable[[], Done]:
    """Stands for a group in the list of commands."""

    def listed() -> Done:
        raise AssertionError("a group is not run")

    listed.__doc__ = f"A group of commands: {', '.join(commands)}."
    return listed


def _failed(kind: str, message: str, status: int) -> Done:
    return Done({"error": {"kind": kind, "message": message}}, status)
