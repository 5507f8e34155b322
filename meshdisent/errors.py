"""Every error that a user can cause, with the exit code that the command line gives it.

A message has four parts: what was found, what was wanted, where, and how to mend it.
"""

#: A message beyond this many letters is shortened in the middle: it repeats what a damaged file holds.
LONGEST_MESSAGE = 1500


class MeshdisentError(Exception):
    """Something outside the program is wrong: a file, an argument, a recipe. Never our own bug.

    Examples
    --------
    >>> print(len(str(DataError("x.zip names " + 5000 * "Z" + "; wanted a member"))))
    1500
    """

    exit_code = 3

    def __str__(self) -> str:
        message = super().__str__()
        if len(message) <= LONGEST_MESSAGE:
            return message
        end = LONGEST_MESSAGE // 3
        return f"{message[: LONGEST_MESSAGE - end - 5]} ... {message[-end:]}"


class UsageError(MeshdisentError):
    """Arguments that cannot work together, or an output that exists already."""

    exit_code = 2


class RecipeError(MeshdisentError):
    """A recipe or a setting with an unknown key or an impossible value."""

    exit_code = 2


class MeshError(MeshdisentError):
    """A file or an object that is no mesh."""


class TopologyError(MeshdisentError):
    """A scan whose vertex count or faces are not those of the topology."""


class DataError(MeshdisentError):
    """A dataset, a folder of scans or a split that cannot be used."""


class ModelFileError(MeshdisentError):
    """A model file or a checkpoint that is damaged, foreign or of another version."""
