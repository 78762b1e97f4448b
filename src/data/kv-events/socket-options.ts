/** Options of the router's ZeroMQ sockets, each with its reason. Times in milliseconds, sizes in bytes. */

/**
 * Largest message that is accepted; a peer that sends more is cut off. A step of an engine that caches a million tokens
 * in pages of one token, with hashes of 32 bytes, is 39 MB.
 */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024

const common = {
  // Nothing that these sockets send is worth waiting for when they close.
  linger: 0,
  // libzmq answers a silent peer's death only to who writes, and a subscriber never writes. A ping every 5 s finds a
  // dead host within 15 s, less than an engine takes to start again; 1,000 pods make 200 pings a second. The peer's
  // libzmq answers them on its own I/O thread, whatever the engine is busy with.
  heartbeatInterval: 5000,
  heartbeatTimeout: 10_000,
  // For peers whose ZMTP has no heartbeats: the same by the kernel.
  tcpKeepalive: 1,
  tcpKeepaliveIdle: 15,
  tcpKeepaliveInterval: 5,
  tcpKeepaliveCount: 3,
  // A port where something else listens should be noticed soon.
  handshakeInterval: 5000,
}

export interface Limits {
  readonly maxMessageBytes: number
}

/** A socket that subscribes. */
export function subscriberOptions(endpoint: string, { maxMessageBytes }: Limits) {
  return {
    ...common,
    ...dialling(endpoint),
    maxMessageSize: maxMessageBytes,
    // Counts messages, not bytes. It only has to bridge the turns of the event loop: when it is reached, libzmq leaves
    // the rest in the connection, flow control stops the publisher's, and its own queue fills (100,000 messages in
    // vLLM and SGLang); what that drops is seen as a gap. More would hold the same memory here, for each of
    // many pods: 256 common messages of 64 blocks are 1.5 MB.
    receiveHighWaterMark: 256,
  }
}

/** A socket that asks for batches again. */
export function replayOptions(endpoint: string, { maxMessageBytes }: Limits) {
  return {
    ...common,
    ...dialling(endpoint),
    maxMessageSize: maxMessageBytes,
    // What comes beyond is dropped by the engine, which queues a thousand itself, and asked for again: so this bounds
    // what a replay may hold (24 MB of common messages), not what it can bring.
    receiveHighWaterMark: 4000,
  }
}

/** A socket that engines dial. */
export function listenerOptions(endpoint: string, limits: Limits) {
  return subscriberOptions(endpoint, limits)
}

function dialling(endpoint: string) {
  return {
    // An engine's first request follows its first good health check, and events before the subscription stands are
    // lost: so it must stand within a second. It is no burden: a thousand dead pods make a thousand attempts a second.
    reconnectInterval: 100,
    reconnectMaxInterval: 1000,
    // The kernel's own limit is two minutes.
    connectTimeout: 5000,
    // With it, libzmq takes a name's IPv6 address first, where an engine that listens on 0.0.0.0 is not.
    ipv6: endpoint.includes('['),
  }
}
