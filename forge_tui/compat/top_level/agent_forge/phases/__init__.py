"""Phases of the older library: `cognate_pretrain`."""
