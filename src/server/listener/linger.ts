/**
 * Answers given before the request's body has come whole: refusals, in the main. To close a connection with bytes
 * unread makes the kernel send a reset, which can overtake the answer; so what still comes is read and thrown away, for
 * a while. A client that asked for a close gets it from either server with the answer's last byte, before anything more
 * can be read: there, it is the answer that waits for the rest of the body.
 */

/** Milliseconds that the rest of an unwanted body is waited for. */
export const LINGER_MS = 10_000

/** Does a request with that `connection` header end its connection with the answer? */
export const asksForClose = (connection: string | undefined): boolean =>
  connection !== undefined && /\bclose\b/i.test(connection)
