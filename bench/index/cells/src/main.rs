//! The prefix index beside its peers: fills indexes with one workload, checks their answers, and measures.
//!
//! - [`shape`], [`workload`], [`inputs`]: who holds what, and the queries · [`events`], [`lane`], [`dynamo`]: the peer · [`phyllo`]: ours
//! - [`queries`], [`latency`], [`removal`], [`updates`], [`memory`]: one table each
//! - [`clock`], [`timing`], [`sampler`], [`rounds`], [`options`]: how it is measured, and for whom

mod churn;
mod clock;
mod dynamo;
mod events;
mod inputs;
mod lane;
mod latency;
mod memory;
mod options;
mod phyllo;
mod queries;
mod removal;
mod rounds;
mod sampler;
mod shape;
mod timing;
mod updates;
mod workload;

use options::{Options, Table};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("{reason}");
            std::process::exit(2);
        }
    };
    match options.table {
        Table::Queries => queries::all(&options),
        Table::Large => queries::large(&options),
        Table::Latency => latency::run(&options),
        Table::Removal => removal::run(&options),
        Table::Updates => updates::run(&options),
        Table::Memory => memory::run(&options),
    }
}
