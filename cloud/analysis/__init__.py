"""Pure numerics over stored series: rain, level, ponding, cracks, risk."""
