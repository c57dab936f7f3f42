"""What breaks a store, each kind of trouble in a module of its own."""
