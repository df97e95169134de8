"""The stages an application writes into its row."""
