"""Repairs: what a finding's `fix` names, first as a plan of what would change, then applied, and undone where it fails."""

from stackctl.repair.apply import Applied, apply
from stackctl.repair.change import Change, Edit, shown
from stackctl.repair.context import ImpossibleError
from stackctl.repair.verbs import NAMES, propose

__all__ = ["NAMES", "Applied", "Change", "Edit", "ImpossibleError", "apply", "propose", "shown"]
