"""Numbers of bytes in words, in one way everywhere: powers of ten, as shops, recipes and download pages count."""

from __future__ import annotations


def of_bytes(count: float) -> str:
    """Bytes for people: `512 B`, `1.5 kB`, `93.0 MB`, `16.4 GB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
