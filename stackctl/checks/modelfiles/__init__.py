"""Checks of the model's files, from their small JSON parts and the headers of the weights; no tensor is read."""

from __future__ import annotations

from stackctl.checks.check import Check, Hop
from stackctl.checks.modelfiles import belongs, files, runnable, template

CHECKS = (
    Check("model.there", Hop.MODEL, "The model is here: configuration, tokenizer, weights.", files.there),
    Check("model.shards", Hop.MODEL, "Every weight file is there and whole.", files.shards, ("model.there",)),
    Check("model.belongs", Hop.MODEL, "The sizes in config.json are those of the weights.", belongs.belongs, ("model.shards",)),
    Check("model.template", Hop.MODEL, "The chat template is there and takes tools.", template.template, ("model.there",)),
    Check("model.plan", Hop.MODEL, "The window and the weights are what the plan says.", runnable.fits_plan, ("model.there",)),
    Check("model.precision", Hop.MODEL, "This hardware can compute the model's precision.", runnable.precision, ("model.there",)),
    Check("model.kind", Hop.MODEL, "This vLLM has this kind of model, and it writes.", runnable.architecture, ("model.there",)),
    Check("configuration.parser-family", Hop.CONFIG, "The tool parser that is set reads this family's format.", template.tool_parser, ("configuration.parsers",)),
    Check("model.method", Hop.MODEL, "This vLLM knows how the weights were quantised.", runnable.method, ("model.there",)),
    Check("model.texts", Hop.MODEL, "The tokenizer can be read.", files.texts, ("model.there",)),
    Check("model.cache", Hop.MODEL, "What the hub's cache has of the model is whole.", files.cached),
)  # fmt: skip
