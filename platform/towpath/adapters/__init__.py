"""One service an adapter, one SDK a file. Adapters do not know each other; only `towpath.wiring` imports them."""
