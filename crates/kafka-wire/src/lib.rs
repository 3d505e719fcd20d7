//! Kafka requests and responses: framing, the API table, decoding within limits.
