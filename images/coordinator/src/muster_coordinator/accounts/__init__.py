"""Who asks: customers and administrators, and how they show it."""
