/** The page's looks. Line colours after Okabe and Ito, told apart by colour-blind people too; lighter on dark ground. */
export const STYLE = `
:root{color-scheme:light dark;--ground:#fff;--text:#1c1f23;--faint:#5c636b;--rule:#dfe3e8;--panel:#f6f7f9;--heat:#0b5cad;
--s0:#0072b2;--s1:#d55e00;--s2:#009e73;--s3:#b0409a;--s4:#8a6d00;--s5:#3aa0d8;--s6:#6b4fbb;--s7:#666}
@media(prefers-color-scheme:dark){:root{--ground:#14171a;--text:#e8eaed;--faint:#9aa3ad;--rule:#30363d;--panel:#1c2126;--heat:#5ab0ff;
--s0:#4aa8e8;--s1:#ff8f4a;--s2:#2fd3a2;--s3:#ea86d2;--s4:#e3c04a;--s5:#9adcff;--s6:#a996f5;--s7:#b0b0b0}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1280px;padding:24px 20px 60px;background:var(--ground);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.5rem;margin:0 0 .2em;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2em 0 .4em}h3{font-size:1rem;margin:1.2em 0 .3em}
p{margin:.3em 0;max-width:75ch}.note{color:var(--faint);font-size:.9em}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.86em;min-width:100%}
th,td{padding:5px 6px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--faint);font-weight:600}
td.best{font-weight:700}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;margin:.6em 0}dt{color:var(--faint)}dd{margin:0}
.grid2{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,460px),1fr));gap:8px 28px}
svg{width:100%;height:auto;display:block;background:var(--panel);border-radius:6px}
svg .grid{stroke:var(--rule);stroke-width:1}svg text{fill:var(--faint);font-size:12px}svg .title{font-size:12.5px}
svg .line{fill:none;stroke-width:2;stroke-linejoin:round}svg .dashed{stroke-dasharray:6 4}svg .dotted{stroke-dasharray:1.5 3}svg .dot{stroke:none}
svg .ground{fill:var(--panel)}svg .heat{fill:var(--heat)}
.key{display:inline-block;width:1.3em;height:0;border-top:3px solid;margin-right:.5em;vertical-align:middle}
.key.dashed{border-top-style:dashed}.key.dotted{border-top-style:dotted}.legend span+span{margin-left:1.4em}
.ramp{display:inline-block;width:90px;height:.8em;border:1px solid var(--rule);vertical-align:middle;
background:linear-gradient(90deg,transparent,var(--heat))}
${Array.from({ length: 8 }, (_, at) => `svg .line.s${at}{stroke:var(--s${at})}svg .dot.s${at}{fill:var(--s${at})}.key.s${at}{border-color:var(--s${at})}`).join('')}
@media print{body{max-width:none}svg{break-inside:avoid}}
`
