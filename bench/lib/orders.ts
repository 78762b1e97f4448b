/** In a process that a bench forked: runs each order that comes as a message, and sends the report back. */
export function answerOrders<Order, Report>(run: (order: Order) => Promise<Report>): void {
  process.on('message', (order: Order) => {
    run(order).then(
      report => process.send?.(report),
      error => {
        console.error(error)
        process.exit(1)
      },
    )
  })
}
