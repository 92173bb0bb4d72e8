"""Tiny random models of the families that people use, written compactly from their papers, for families.py."""
