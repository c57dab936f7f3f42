"""The calls of `proto.CoordinatorService`, whoever serves them.

A face hands over a method's name, its request and who asks, and sends what it gets back; faces
know no rules. The one on grpc.aio, the one on HTTP and a native one are alike in this.
"""
