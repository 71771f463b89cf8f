"""The scripted engine's command line: vLLM's flags, and its own."""

from __future__ import annotations

import os
import socket


def as_faults(names: list[str]) -> dict[str, str]:
    """`name` or `name=value` each."""
    return dict(each.partition("=")[::2] for each in names)


class Flags:
    """The command line. A flag may come as `--a-b v`, `--a_b v` or `--a-b=v`; several values are a list."""

    def __init__(self, argv: list[str]) -> None:
        self.values: dict[str, list[str]] = {"": []}
        self.held: list[socket.socket] = []
        name = ""
        for word in argv:
            if word.startswith("--"):
                flag, equals, value = word[2:].partition("=")
                name = flag.replace("_", "-")
                self.values.setdefault(name, []).extend([value] if equals else [])
            else:
                self.values[name].append(word)
        self.set_faults(self._faults())

    def _faults(self) -> list[str]:
        given = os.environ.get("FAKE_ENGINE_FAULTS", "")
        return [*self.values.get("fake-fault", []), *filter(None, given.split(","))]

    def set_faults(self, names: list[str]) -> None:
        """The faults, and what the flags themselves make of the engine."""
        self.faults = as_faults(names)
        if "connected" in self.faults:  # HOST/PORT, for as long as it lives
            host, _, port = self.faults["connected"].partition("/")
            self.held.append(socket.create_connection((host, int(port)), 10))
        if self.has("no-enable-prefix-caching"):
            self.faults["no-cache"] = ""
        if self.get("max-num-seqs", "") == "1":
            self.faults["serial"] = ""
        if self.has("chat-template"):
            self.faults.pop("bare", None)

    def has(self, name: str) -> bool:
        """Whether the flag is there."""
        return name in self.values

    def get(self, name: str, default: str) -> str:
        """The flag's first value."""
        return (self.values.get(name) or [default])[0]

    @property
    def window(self) -> int:
        """Tokens; `auto` and the like are 32768."""
        given = self.faults.get("window") or self.get("max-model-len", "")
        return int(given) if given.isdecimal() else 32768

    @property
    def names(self) -> list[str]:
        """The names that the model is served under."""
        other = self.faults.get("names")
        return other.split("+") if other else self.values.get("served-model-name") or [self.model]

    @property
    def model(self) -> str:
        """The model that is loaded."""
        return self.get("model", next((each for each in self.values[""] if each != "serve"), "scripted"))
