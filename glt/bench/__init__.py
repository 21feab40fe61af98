"""Latency, memory and throughput of a ticket's model beside the models it competes with, in one run."""
