"""What is said: messages between processes, and nothing about what they mean."""

#: Both sides of every stream say this number first. It grows when a message changes its meaning.
WIRE_VERSION = 1

#: No single message is larger, in either direction; larger contents travel in several.
MESSAGE_BYTES_MAX = 4 * 2**20

#: Contents are cut into pieces of this size.
CHUNK_BYTES = 2**20
