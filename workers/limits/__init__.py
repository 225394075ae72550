"""The venues' rate limits, kept together by all worker processes through Redis."""

from workers.limits.blocking import BlockingGate
from workers.limits.limiter import Admission, Limiter
from workers.limits.rules import Bucket, bucket_of, groups_of

__all__ = ["Admission", "BlockingGate", "Bucket", "Limiter", "bucket_of", "groups_of"]
