"""Durable rows: the only room that knows LMDB."""
