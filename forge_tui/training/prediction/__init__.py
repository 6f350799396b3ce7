"""Predictions of trained models for tables and arrays of any source."""
