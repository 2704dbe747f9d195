//! How the page looks: light and dark by what the reader's system says, one column on a phone, plain on paper.

/// Colours of lines, one for each slot; the same in every plot.
pub(super) const SLOTS: usize = 9;

/// The style sheet.
pub(super) const CSS: &str = "
:root{color-scheme:light dark;--bg:#fff;--ink:#1b1f24;--dim:#57606a;--line:#d0d7de;--soft:#f6f8fa;--link:#0b63c5;
--pass:#116329;--warn:#7d4e00;--fail:#b3202a;--inc:#5a3ea6;--pass-bg:#dafbe1;--warn-bg:#fff3c4;--fail-bg:#ffe3e1;--inc-bg:#efe7ff;
--c0:#0b63c5;--c1:#c2410c;--c2:#6b7280;--c3:#15803d;--c4:#7e22ce;--c5:#a16207;--c6:#0e7490;--c7:#be185d;--c8:#475569}
@media (prefers-color-scheme:dark){:root{--bg:#0f1318;--ink:#e6edf3;--dim:#9aa4af;--line:#333b45;--soft:#171d24;--link:#79b8ff;
--pass:#6fdd8b;--warn:#f0c443;--fail:#ff8d86;--inc:#c4b0ff;--pass-bg:#11301b;--warn-bg:#3a2d05;--fail-bg:#4a1518;--inc-bg:#2a2050;
--c0:#60a5fa;--c1:#fb923c;--c2:#9ca3af;--c3:#4ade80;--c4:#c084fc;--c5:#facc15;--c6:#22d3ee;--c7:#f472b6;--c8:#cbd5e1}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1rem 1rem 4rem;background:var(--bg);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.3rem;margin:2.5rem 0 .5rem;border-bottom:1px solid var(--line);padding-bottom:.25rem}
h3{font-size:1.1rem;margin:2rem 0 .25rem}h4{font-size:1rem;margin:1.5rem 0 .25rem}
p{margin:.4rem 0}a{color:var(--link)}.dim{color:var(--dim)}ul,ol{padding-left:1.4rem;margin:.4rem 0}li{margin:.3rem 0}
code,pre{font:.875em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem;white-space:pre-wrap;margin:.5rem 0}
.scroll{overflow-x:auto;margin:.6rem 0}.scroll:focus-visible{outline:2px solid var(--link)}
table{border-collapse:collapse;width:100%;font-size:.9rem;overflow-wrap:normal}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line)}
thead th{background:var(--soft);white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.v{display:inline-block;font-weight:600;font-size:.85em;padding:.05rem .5rem;border-radius:1rem;white-space:nowrap}
.v.big{font-size:1.3rem;padding:.2rem .9rem}
.v.PASS{color:var(--pass);background:var(--pass-bg)}.v.WARN{color:var(--warn);background:var(--warn-bg)}
.v.FAIL{color:var(--fail);background:var(--fail-bg)}.v.INCONCLUSIVE{color:var(--inc);background:var(--inc-bg)}.v.NONE{color:var(--dim);background:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.5rem 0}dt{color:var(--dim)}dd{margin:0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:1rem;margin:1rem 0}
figure{margin:0;border:1px solid var(--line);border-radius:6px;padding:.6rem}
figure>b{display:block;font-size:.9rem}figcaption{font-size:.8rem;color:var(--dim)}
svg{width:100%;height:auto;display:block}svg text{fill:var(--dim);font:11px system-ui,sans-serif}
.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--dim);stroke-width:1}.mark{stroke:var(--fail);stroke-width:1.5;stroke-dasharray:4 3}
svg text.marked{fill:var(--fail);font-weight:600}.warm{fill:var(--soft)}
.l{fill:none;stroke-width:1.8;stroke-linejoin:round}.ideal{stroke-dasharray:5 4}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}.s6{stroke:var(--c6)}.s7{stroke:var(--c7)}.s8{stroke:var(--c8)}
.key{display:inline-block;margin-right:.9rem;white-space:nowrap}.key svg{display:inline-block;width:1.5rem;height:.6rem;vertical-align:middle;margin-right:.3rem}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--link)}
@media (max-width:44rem){thead{position:absolute;left:-999rem}tr{display:block;border-bottom:2px solid var(--line);padding:.4rem 0}
td,td.n{display:grid;grid-template-columns:38% 1fr;gap:.5rem;text-align:left;white-space:normal;border:0;padding:.1rem 0}
td::before{content:attr(data-of);color:var(--dim)}td>*{justify-self:start}td.none{display:none}}
@media (max-width:36rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}body{padding:.5rem .7rem 3rem}}
@media print{body{max-width:none}figure{break-inside:avoid}}
";
