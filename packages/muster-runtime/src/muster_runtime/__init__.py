"""What every Muster process needs: logs, configuration, operations endpoints, leader election."""
