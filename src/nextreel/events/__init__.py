"""Events: the wire contract, the synthetic world, adapters from real data sets."""
