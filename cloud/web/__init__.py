"""What the cloud shows and hears over HTTP: answers to calls, replies that providers pass on, the
API, the CAP feed."""
