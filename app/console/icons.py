"""The icons of the console, drawn on a square of 16 units."""

from __future__ import annotations

from markupsafe import Markup

_SHAPES = {
    "list": '<path d="M2.5 4h11M2.5 8h11M2.5 12h7"/>',
    "repository": '<path d="M4 2.5h8.5v11H4a1.5 1.5 0 0 1 0-3h8.5"/><path d="M2.5 12V4A1.5 1.5 0 0 1 4 2.5"/>',
    "chart": '<path d="M3 13.5v-4M8 13.500V3M13 13.500v-7"/>',
    "plus": '<path d="M8 3v10M3 8h10"/>',
    "menu": '<circle cx="3.5" cy="8" r=".6"/><circle cx="8" cy="8" r=".6"/><circle cx="12.5" cy="8" r=".6"/>',
    "branch": (
        '<circle cx="4.5" cy="3.5" r="1.5"/><circle cx="4.5" cy="12.5" r="1.5"/>'
        '<circle cx="11.5" cy="5.5" r="1.5"/><path d="M4.5 5v6M11.5 7c0 2.5-3 2.2-5.5 3"/>'
    ),
    "pr": (
        '<circle cx="4" cy="3.5" r="1.5"/><circle cx="4" cy="12.5" r="1.5"/><circle cx="12" cy="12.5" r="1.5"/>'
        '<path d="M4 5v6M12 11V6a2 2 0 0 0-2-2H7.5m2-2-2 2 2 2"/>'
    ),
    "search": '<circle cx="7" cy="7" r="4"/><path d="m10 10 3.5 3.5"/>',
    "command": '<path d="m3 5 3 3-3 3M8 11.5h5"/>',
    "read": '<path d="M4 2.5h5l3 3v8H4zM9 2.5v3h3"/>',
    "edit": '<path d="m3 13 .6-2.6 7-7 2 2-7 7zM9.3 4.7l2 2"/>',
    "web": '<circle cx="8" cy="8" r="5.5"/><path d="M2.5 8h11M8 2.5c2 2 2 9 0 11M8 2.5c-2 2-2 9 0 11"/>',
    "tool": '<path d="M9.5 3.2a3.2 3.2 0 0 0 3.9 4L7 13.4A1.7 1.7 0 0 1 4.600 11z"/>',
    "plan": '<path d="m2.500 4 1 1 1.700-2M2.500 11l1 1 1.700-2M7.500 4.500h6M7.500 11.500h6"/>',
    "reasoning": (
        '<path d="M6 11.500h4M6.500 13.500h3M5.500 9.500a3.800 3.800 0 1 1 5 0c-.5.5-.5 1-.5 2H6c0-1 0-1.500-.5-2z"/>'
    ),
    "question": (
        '<circle cx="8" cy="8" r="5.500"/>'
        '<path d="M6.500 6.500a1.600 1.600 0 1 1 2.300 1.400c-.6.3-.8.6-.8 1.200M8 11.200v.1"/>'
    ),
    "system": '<circle cx="8" cy="8" r="5.500"/><path d="M8 7.500v3.500M8 5.100v.1"/>',
    "message": '<path d="M3 3.500h10v7H7.500L5 13v-2.500H3z"/>',
    "file": '<path d="M4 2.500h5l3 3v8H4zM9 2.500v3h3"/>',
    "check": '<path d="m3.500 8.500 3 3 6-7"/>',
    "chevron": '<path d="m6 4 4 4-4 4"/>',
    "alert": '<path d="M8 2.500 14 13H2zM8 6.500v3M8 11.300v.1"/>',
    "revert": '<path d="M5.500 3 2.500 6l3 3M3 6h6a4 4 0 0 1 0 8H7"/>',
}

_FRAME = (
    '<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.4" '
    'stroke-linecap="round" stroke-linejoin="round">{}</svg>'
)
_ICONS = {name: Markup(_FRAME.format(shape)) for name, shape in _SHAPES.items()}


def icon(name: str) -> Markup:
    """The icon of that name; that of a tool if there is none."""
    return _ICONS.get(name, _ICONS["tool"])
