"""The gRPC services of `orbit.v1`: each turns messages into calls on the term or the server, and answers.

Servicers raise `OrbitError`; an interceptor makes statuses of them. Nothing is decided here.
"""
