"""Text from outside, as it can be stored."""

MAX_CHARACTERS = 4000


def clean(text: str, most: int = MAX_CHARACTERS) -> str:
    """`text` without NULs and lone surrogates, which no database takes, and not longer than `most`.

    One such character would not only fail its own report, but all that are stored with it.
    """
    return text.encode(errors="replace").decode().replace("\x00", "")[:most]
