"""What the local stack says when it cannot go on: which part, why, what to do."""

from pathlib import Path


class PartFailed(Exception):
    """A part did not start, or ended by itself."""

    def __init__(self, part: str, why: str, remedy: str, log: Path | None = None) -> None:
        self.part, self.why, self.remedy, self.log = part, why, remedy, log
        super().__init__("\n".join(filter(None, (f"{part}: {why}", self.last_words(5), remedy))))

    def last_words(self, lines: int = 15) -> str:
        """The end of the part's log."""
        if self.log is None or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
