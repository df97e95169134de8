"""Agents of pydantic-ai as the language model of a pipeline."""
