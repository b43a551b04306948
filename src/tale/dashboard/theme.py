"""The two themes, and which of them suits the terminal.

Colours are few and mean something: green is well, amber needs a look, red is wrong, blue moves.
Each is readable on its background (a test reckons the contrast), and next to it in the 256 colours
of a terminal that has no more. Above: `app`. Below: Textual.
"""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

__all__ = ["DARK", "LIGHT"]


def _theme(
    name: str, *, dark: bool, ground: tuple[str, str, str], ink: str, faint: str, **text: str
) -> Theme:
    background, surface, panel = ground
    variables = {f"text-{meaning}": color for meaning, color in text.items()}
    return Theme(
        name=name,
        primary=text["accent"],
        secondary=text["accent"],
        accent=text["accent"],
        success=text["success"],
        warning=text["warning"],
        error=text["error"],
        foreground=ink,
        background=background,
        surface=surface,
        panel=panel,
        dark=dark,
        variables={
            **variables,
            "footer-background": background,
            "footer-foreground": text["muted"],
            "footer-key-foreground": text["accent"],
            "footer-description-foreground": text["muted"],
            "footer-item-background": background,
            "border": faint,
            "block-cursor-background": panel,
            "block-cursor-foreground": ink,
            "input-selection-background": panel,
            "scrollbar": panel,
            "scrollbar-hover": text["muted"],
            "scrollbar-active": text["muted"],
            "scrollbar-background": background,
            "scrollbar-background-hover": background,
            "scrollbar-background-active": background,
            "scrollbar-corner-color": background,
        },
    )


DARK: Final = _theme(
    "tale-dark",
    dark=True,
    ground=("#121518", "#1a1e22", "#2a3036"),
    ink="#d7dce1",
    faint="#48525c",
    muted="#8c98a4",
    accent="#5fafd7",
    success="#5fbf87",
    warning="#d7af5f",
    error="#f08080",
)
LIGHT: Final = _theme(
    "tale-light",
    dark=False,
    ground=("#fcfcfa", "#f2f2ee", "#e2e5e8"),
    ink="#1f262d",
    faint="#b4bec8",
    muted="#5a6570",
    accent="#005f87",
    success="#1d6b38",
    warning="#805300",
    error="#af1f1f",
)
