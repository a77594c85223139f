"""What staff must see and do: opened by rules and clocks, closed by staff or by what settles it."""
