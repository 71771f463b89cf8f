"""`stackctl init`: three questions at most, one commented stack.yaml, and the plan that follows from it."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from stackctl import config, host, output, paths, planning, trust
from stackctl.catalog import models
from stackctl.commands import models as listing
from stackctl.config import EMBEDDED, Flags
from stackctl.errors import ConfigError
from stackctl.hub.cache import cache_dir
from stackctl.output import Outcome
from stackctl.plan import advise, explain

if TYPE_CHECKING:
    from stackctl.host import Host
    from stackctl.plan.advise import Advice

_OFFERED = 3


def run(*, here: bool, model: str | None, gateway: str | None, yes: bool, force: bool) -> Outcome:
    """Ask, write the file and show its plan. Raises ConfigError when there is one already (and no `force`).

    What flags answer is not asked; `yes`, or no terminal, takes the defaults.
    """
    machine = host.inspect(cache_dir())
    output.note(f"stackctl: {machine.summary()}")
    ask = not yes and output.has_terminal()
    model = model or _ask_model(machine, ask=ask)
    gateway = _gateway(gateway) if gateway is not None else ("litellm" if not ask else _ask_gateway())
    target = _target(here=here, ask=ask)
    if os.path.lexists(target) and not force:
        raise ConfigError(f"{target} is there already", remedy="edit it, or write it anew:  stackctl init --force")
    text = written(model, gateway, machine)
    _write(target, text)
    if target == os.path.abspath(paths.LOCAL_FILE):
        trust.add(target)  # the user's own words, just now
    prepared = planning.prepare(Flags(config=target))
    fit = prepared.plan.engine.fit
    lines = [f"stackctl: wrote {target}", *(f"stackctl: {note}" for note in prepared.plan.notes)]
    if fit is not None and not fit.refusal:
        lines += [f"  {what:<24}{much:>16}  {why}" for what, much, why in explain.rows(fit)]
    option = "" if _is_found(target) else f" -c {target}"
    lines.append(f"stackctl: next:  stackctl up{option}")
    return Outcome(lines=lines, data={"file": target, "model": model, "gateway": gateway, "text": text})


def written(model: str, gateway: str, machine: Host) -> str:
    """The configuration, with what else could stand there as comments."""
    found = models.find(model)
    about = "the embedded SmolLM2-135M: it proves the chain and talks nonsense; name a model that codes"
    if model != EMBEDDED:
        about = "a Hugging Face id, or the path of a checkpoint"
        if found is not None and found.model.agent is not None:
            agent = found.model.agent
            about = f"{agent.score:g}% of {agent.test} ({agent.source})"
    return f"""# stackctl's configuration, written by `stackctl init` for: {_plain(machine.summary())}
# Everything that is not here is derived: `stackctl render --explain` says what, and from what.
engines:
  main:
    model: {json.dumps(model)}
    # {_plain(about)}
    # max_model_len: 65536     # else the largest window that fits, with room for subagents
    # trust_remote_code: true  # only where a model needs its own code, and you trust whatever comes
    # args: {{kv-cache-dtype: fp8}}  # any flag of vLLM, without its dashes
    # url: http://BOX:8000     # in place of `model`: an engine that already runs elsewhere
gateway:
  kind: {gateway}
  # litellm serves every protocol and clamps what clients ask for; direct is vLLM's own Anthropic endpoint
  # port: 4000
# aliases: [claude-sonnet-4-5]  # other names that clients may ask for
"""


def _plain(text: str) -> str:
    return " ".join(text.split())


def _ask_model(machine: Host, *, ask: bool) -> str:
    """The model: what suits best unless something else is typed."""
    best = advise.best(machine)
    if not ask:
        return best.found.variant.id if best else EMBEDDED
    ranked = advise.ranked(machine, amd=False)
    fitting = [each for each in ranked if not each.fit.refusal and each.fit.size.arch is not None]
    for word in listing.honest(machine, fitting):
        output.warn(word)
    offered = [best, *(each for each in fitting if each is not best)] if best else []
    choices = [each for each in offered if each is not None][:_OFFERED]
    for number, each in enumerate(choices, 1):
        output.note(f"  {number}. {_offer(each)}")
    default = choices[0].found.variant.id if choices else EMBEDDED
    answer = output.prompt("Which model? A number, a Hugging Face id, a path, or `embedded`", default)
    if answer.isdigit() and 0 < int(answer) <= len(choices):
        return choices[int(answer) - 1].found.variant.id
    if answer.isdigit():
        raise ConfigError(f"there is no number {answer}", remedy=f"answer 1 to {len(choices)}, or name a model")
    return answer


def _offer(advice: Advice) -> str:
    fit, agent = advice.fit, advice.found.model.agent
    quality = f", {agent.score:g}% of {agent.test}" if agent else ""
    disk = f"{advice.found.variant.weights_gb:.0f} GB to download"
    return f"{advice.found.variant.id}: window {fit.window // 1024}k, {advice.speed}{quality}, {disk}"


def _ask_gateway() -> str:
    answer = output.prompt(
        "Which gateway? litellm (all clients) or direct (Claude Code only, no second process)", "litellm"
    )
    return _gateway(answer)


def _gateway(name: str) -> str:
    if name not in {"litellm", "direct"}:
        raise ConfigError(f"there is no gateway {name!r}", remedy="choose litellm or direct")
    return name


def _target(*, here: bool, ask: bool) -> str:
    """Where to write: for this directory, or for all of the user's."""
    local = os.path.abspath(paths.LOCAL_FILE)
    own = os.path.join(paths.config_dir(), paths.LOCAL_FILE)
    if here:
        return local
    if not ask:
        return own
    answer = output.prompt(f"Where? `mine` is {own}, `here` is {local}", "mine")
    if answer not in {"mine", "here"}:
        raise ConfigError(f"`{answer}` is neither", remedy="answer mine or here")
    return local if answer == "here" else own


def _is_found(target: str) -> bool:
    """Whether a command without --config finds this file."""
    from stackctl import names

    return names.config_file(None, os.environ)[0] == target


def _write(target: str, text: str) -> None:
    """By rename, so that a file is whole or not there, and only once it can be used."""
    draft = f"{target}.{os.getpid()}.new"
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(draft, "x", encoding="utf-8") as stream:
            stream.write(text)
        config.load(Flags(config=draft), {})
        os.replace(draft, target)
    except OSError as error:
        raise ConfigError(
            f"cannot write {target}: {error.strerror}",
            remedy="go to a directory that is yours, and type  stackctl init --here",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(draft)
