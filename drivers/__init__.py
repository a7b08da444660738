"""Hardware: reads and writes devices, and knows nothing of gateways or clouds."""
