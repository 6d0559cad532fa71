//! The order of a run: small things first, then the large store, each server stopped before the next part needs the CPU.

use std::process::ExitCode;

use crate::context::{Context, Options, size};
use crate::handstamp::{Filled, Handstamp};
use crate::machine::Machine;
use crate::report::Row;
use crate::{
    Result, bench_create, bench_feed, bench_million, bench_nodes, bench_nodes_write, bench_policy,
    bench_rates, bench_refresh, bench_tokens, bench_validate,
};

/// Runs what was asked for, prints and writes the report.
///
/// # Errors
/// When anything could not be measured; a missed target is a figure, not an error.
pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let context = Context::new(options)?;
    let machine = Machine::look(&context)?;
    context.pinning.move_self()?;
    if !context.pinning.apart {
        eprintln!(
            "This machine lets us use one CPU only: server and load share it, and the figures mean little."
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(measure(&context));
    let report = context.report.borrow();
    println!("{}", report.table());
    println!("{}", machine.markdown());
    if let Some(file) = &context.options.json {
        report.write_json(&machine, file)?;
    }
    // What was measured until then has been said; what went wrong is said last.
    outcome?;
    bench_validate::clean(&context)?;
    if context.options.write_docs {
        report.write_docs(&machine, "docs/benchmarks.md".as_ref())?;
    }
    match report.missed() {
        0 => println!("No target was missed."),
        missed => println!("{missed} targets were missed."),
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(context: &Context) -> Result<()> {
    if context.wants("memory") {
        bench_create::idle_memory(context).await?;
    }
    if context.wants("create") {
        bench_create::create(context).await?;
    }
    if context.wants("validate-1k") {
        bench_validate::small(context).await?;
    }
    if context.wants("policy") {
        bench_policy::cost(context).await?;
    }
    if context.wants("rates") {
        bench_rates::cost(context).await?;
    }
    if context.wants("refresh") {
        bench_refresh::refresh(context).await?;
    }
    if context.wants("tokens") {
        bench_tokens::tokens(context).await?;
    }
    if context.wants("feed") {
        bench_feed::latency(context).await?;
        bench_feed::cost(context).await?;
    }
    nodes(context).await?;
    if ["validate-1m", "batch", "search", "memory", "restart"].iter().any(|name| context.wants(name)) {
        let filled = Filled::prepare(context).await?;
        large(context, &filled).await?;
        filled.leave(context)?;
    }
    Ok(())
}

async fn nodes(context: &Context) -> Result<()> {
    if context.wants("nodes-validate") {
        bench_nodes::warm(context).await?;
    }
    if context.wants("nodes-cold") {
        bench_nodes::cold(context).await?;
    }
    if context.wants("nodes-create") {
        bench_nodes_write::create(context).await?;
    }
    if context.wants("nodes-refresh") {
        bench_nodes_write::refresh(context).await?;
    }
    if context.wants("nodes-revoke") {
        bench_nodes::revoked(context).await?;
    }
    if context.wants("nodes-size") {
        bench_nodes_write::sizes(context).await?;
    }
    Ok(())
}

async fn large(context: &Context, filled: &Filled) -> Result<()> {
    if let Some(figures) = &filled.creation {
        let what = format!("filling {} sessions", size(context.sessions));
        let mut report = context.report.borrow_mut();
        report.run(&what, 256, figures);
        report.row(
            Row::new(&what, "CPU us/request", figures.cpu_us)
                .note(format!("{:.0} req/s", figures.per_second)),
        );
    }
    if ["validate-1m", "batch", "memory"].iter().any(|name| context.wants(name)) {
        let server = Handstamp::start(context, &filled.data, Some(bench_million::roomy_cache(context)))?;
        bench_million::warm(context, &server, filled, context.wants("memory")).await?;
        if context.wants("validate-1m") {
            bench_validate::compare(context, &server, &filled.tokens, true).await?;
        }
        if context.wants("batch") {
            bench_validate::batch(context, &server, &filled.tokens).await?;
        }
        let seconds = server.child.stop("TERM")?;
        let row = Row::new(&format!("stop after SIGTERM, {} in use", size(context.sessions)), "s", seconds);
        context.report.borrow_mut().row(row.at_most(10.0));
    }
    if context.wants("search") {
        let server = Handstamp::start(context, &filled.data, None)?;
        bench_million::search(context, &server, filled).await?;
        server.child.stop("TERM")?;
    }
    // Too few sessions would not fill even a small cache, and the figure would prove nothing.
    if context.wants("memory") && context.sessions >= bench_million::ENOUGH {
        bench_million::bounded(context, filled).await?;
    }
    if context.wants("restart") {
        bench_million::restart(context, filled).await?;
    }
    Ok(())
}
