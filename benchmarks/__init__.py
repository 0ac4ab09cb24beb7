"""Every published figure's command; what they printed is kept in `records/`."""
