from msgspec import Struct


class SeatsOut(Struct):
    """over: held beyond a limit that was lowered; nobody is evicted, but no further seat is given (R-08, E-02)."""

    limit: int
    used: int
    reserved: int
    free: int
    over: int

    @classmethod
    def of(cls, limit: int, used: int, reserved: int) -> "SeatsOut":
        return cls(limit, used, reserved, free=max(0, limit - used - reserved), over=max(0, used + reserved - limit))
