import{$ as z,H as f,I as D,J as u,M as J,O as K,R as y,S as $,T as h,V as O,W as P,X as G,Y as w,_ as M,ba as m,c as x,d as p,e as d,ea as F,f as j,g as B,h as I,ha as v,ia as Q,j as o,ja as V,l as N,n as _,p as q,q as U,r as L,t as R,u as H,w as b,x as A}from"./chunk-G7W7VYRD.js";var W={jobs:()=>import("./jobs-6BUNVTMX.js"),job:()=>import("./job-CCBBXC7W.js"),viewer:()=>import("./viewer-R4OQP5HC.js"),system:()=>import("./system-BD6TJYA4.js")},X={};async function Y(e){X[e]??=(await W[e]()).default}function Z(e,t){let n=t[e]??X[e]??null,[a,r]=p(null),[i,s]=p(0);d(()=>{if(n)return;let c=!0,g=k=>c&&r({name:e,error:k});return Y(e).then(()=>g(null),async()=>{await M(),g({text:"A part of this page could not be loaded",advice:"Check the network connection. If it happens again, reload the page."})}),()=>{c=!1}},[e,i]);let l=!n&&a?.name===e?a.error:null;return{screen:n,error:l,retry:()=>{r(null),s(c=>c+1)}}}function S(e=Object.keys(W)){if(e.length===0||navigator.connection?.saveData)return;(globalThis.requestIdleCallback??(n=>setTimeout(n,500)))(()=>Y(e[0]).then(()=>S(e.slice(1)),()=>{}),{timeout:5e3})}function T({limits:e}){return o`<${u}>New<//>
    <${y} title=${`At most ${b(e.max_images,"image")} of ${A(e.max_image_bytes)} each in a batch.`} />`}function C({params:e}){let{data:t,error:n,reload:a}=w(r=>N("GET","api/v1/batch",{query:{upload:e.id,view:"summary",limit:100},signal:r}).then(i=>i.data),[e.id]);return o`<${u}>Upload<//>
    <${$} error=${n} retry=${a} />
    ${!t&&!n&&o`<${h} />`}
    ${t&&o`<ul class="list">${t.jobs.map(r=>o`<li key=${r.job_id}>
      <a href=${m("job",{id:r.job_id})}>${b(r.total_images,"image")}</a> <${K} job=${r} /></li>`)}</ul>`}`}/*! Imagebatch, Apache-2.0. It includes:
htm 3.1.1, Copyright 2018 Google Inc., Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0
Preact 11.2.0, MIT License:
Copyright (c) 2015-present Jason Miller
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:
The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */var ee={new:T,upload:C,unknown:ie},te=({name:e,params:t})=>`${e} ${t.id??""}`;function ne(){let e=F(),{data:t,error:n,reload:a}=w(q),r=P(t?.keys);return o`
    <${se} route=${e} keys=${t?.keys} caller=${r} />
    <${ue} />
    <${me} />
    <main id="main" tabindex="-1">
      ${t?o`<${re} route=${e} limits=${t} caller=${r} />`:n?o`<${$} error=${n} title="The limits of the gateway could not be read" retry=${a} />`:o`<${h} />`}
    </main>
    <${D} />
    <${O} />
    <${J} />`}function oe(e){e.preventDefault(),document.getElementById("main").focus()}function re({route:e,limits:t,caller:n}){let{screen:a,error:r,retry:i}=Z(e.name,ee);return r?o`<${$} error=${r} retry=${i} />`:a?o`<${ae} key=${te(e)} screen=${a} route=${e} limits=${t} caller=${n} />`:o`<${h} />`}var E=!1;function ae({screen:e,route:t,limits:n,caller:a}){let[r,i]=I(s=>console.error(s));return d(()=>{let s=document.getElementById("main");if(E&&!s.contains(document.activeElement)&&!document.querySelector("dialog[open]")){scrollTo(0,0);let l=s.querySelector("[data-heading]")??s;l.focus({preventScroll:!0}),l===s&&f(document.title)}E||S(),E=!0},[]),r?o`<${u}>Something went wrong<//><div class="note bad"><p><bdi>${String(r.message??r)}</bdi></p>
      <button type="button" onClick=${i}>Show it again</button></div>`:o`<${e} params=${t.params} query=${t.query} limits=${n} caller=${a} />`}function ie(){return o`<${u}>Page not found<//><${y} title="There is nothing at this address.">
    <a href=${m("new")}>Send images</a> or see the <a href=${m("jobs")}>list of jobs</a>.<//>`}function se({route:e,keys:t,caller:n}){let a=_(),r=R(t===!1||!!a),i=r?r.pending+r.processing:0,s=i?` (${["pending","processing"].some(c=>r.at_least?.includes(c))?H({open:i,at_least:["open"]},"open"):i} open)`:"",l=(c,g,k)=>o`<a href=${m(c)} aria-current=${g.includes(e.name)?"page":void 0}>${k}</a>`;return o`<header class="bar">
    <a class="skip" href=${e.hash||"#/"} onClick=${oe}>Skip to the content</a>
    <a class="brand" href=${m("new")}><img src="icon.svg" alt="" width="24" height="24" />Imagebatch</a>
    <nav aria-label="Main">
      ${l("new",["new","upload"],"New")}
      ${l("jobs",["jobs","job","viewer"],`Jobs${s}`)}
      ${n?.operator!==!1&&(n||t===!1)&&l("system",["system"],"System")}
    </nav>
    <div class="bar-end"><${ce} />${(t||a)&&o`<${G} name=${n?.name} />`}</div>
  </header>`}var le={auto:"◐",light:"☀",dark:"☾"};function ce(){let[e,t]=V(),n=v[(v.indexOf(e)+1)%v.length];return o`<button type="button" class="plain" title="Change the theme" onClick=${()=>{t(n),f(`Theme: ${n}`)}}><span aria-hidden="true">${le[e]}</span> <span><span class="visually-hidden">Theme: </span>${e}</span></button>`}function ue(){let[e,t]=p(U()),n=B(e);return d(()=>L(t),[]),j(()=>{n.current!==e&&f(e?"Connected to the gateway again":"No connection to the gateway"),n.current=e},[e]),e?null:o`<div class="banner" role="region" aria-label="Connection">No connection to the gateway. The page tries again by itself; what you see may be old.</div>`}function me(){let e=z();return d(()=>{e&&f("Imagebatch was updated. Reload the page.")},[e]),e?o`<div class="banner row" role="region" aria-label="Update">Imagebatch was updated. <button type="button" onClick=${()=>location.reload()}>Reload the page</button></div>`:null}Q();x(o`<${ne} />`,document.getElementById("app"));
