"""Room of tengri_ppl."""
