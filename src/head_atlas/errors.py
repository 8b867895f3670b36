"""Every error that Head Atlas expects. Each message names the place, what was expected and what was found."""

from __future__ import annotations


class HeadAtlasError(Exception):
    """Base class: an error a person can act on. The app shows its text; anything else is a bug."""


class HeadError(HeadAtlasError):
    """A head that cannot be read or that the model does not have."""


class PromptError(HeadAtlasError):
    """A prompt, target or contrast that cannot be measured (empty, too long, not one token, ...)."""


class CorpusError(HeadAtlasError):
    """Running text that cannot be read (no such file, not UTF-8, no such field, a package that is missing)."""


class ModelError(HeadAtlasError):
    """A model that cannot be loaded."""


class UnsupportedModelError(ModelError):
    """A model whose heads cannot be reached exactly. It is refused, never measured wrongly."""


class MissingReferenceError(HeadAtlasError):
    """A mode that needs reference activations was asked for without them."""


class AtlasError(HeadAtlasError):
    """An atlas file that is missing, damaged, of another version, or not of this model."""


class BuildError(HeadAtlasError):
    """A build that cannot start or go on (another configuration, a damaged shard, no space)."""


class NotApplicableError(HeadAtlasError):
    """A measure that cannot be had exactly of a model. The message says why; nothing is guessed in its place."""
