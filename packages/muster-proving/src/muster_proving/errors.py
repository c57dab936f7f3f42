"""What can go wrong, as exceptions whose text is one clear sentence."""


class InvalidInput(ValueError):  # noqa: N818 - part of the package's face, named after the cause
    """A value that is not allowed: `field` names it, `value` shows or describes it.

    For secret values (leaves, operands, blindings) `value` is a description such as "a string of 3
    characters"; the secret itself is in no attribute and not in the text.
    """

    def __init__(self, field: str, value: str, allowed: str) -> None:
        super().__init__(field, value, allowed)
        self.field = field
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.field} is {self.value}; allowed: {self.allowed}"


class KeyMismatch(ValueError):  # noqa: N818 - likewise
    """Bytes that are no key, a damaged key, or a key of another circuit, curve or version."""


class MalformedProof(ValueError):  # noqa: N818 - likewise
    """Bytes that are not exactly one canonical proof."""


class ProvingFailed(RuntimeError):  # noqa: N818 - likewise
    """The prover itself failed; the inputs were good."""
