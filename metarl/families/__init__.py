"""Task families: the distributions tasks are drawn from, and the batched environments that play them."""
