import{A as W,B as Ye,a as Me,b as De,c as je,e as Be,f as Ae,g as Oe,h as Pe,i as Ne,j as ze,k as P,l as _e,m as qe,n as K,o as Fe,p as U,q as He,r as I,s as N,t as G,u as S,v as Je,w as Ke,x as Ge,y as We,z as Qe}from"./chunk-7HO2VCRL.js";import"./chunk-IXNNZO6P.js";import{Aa as Ie,B as fe,C as me,E as he,F as $e,G as C,H as b,I as R,M as ge,V as be,X as w,Y as we,Z as E,_ as ve,a as se,aa as ye,b as ie,g as le,ga as ke,h as p,ha as H,i as m,ia as J,j as L,k as g,ka as xe,la as Ce,m as ce,ma as Ee,n as ue,na as Se,o as j,p as o,pa as Te,qa as Le,sa as x,ta as B,ua as A,va as Re,x as de,ya as O,z as pe,za as Ue}from"./chunk-AWRWBCH7.js";var Y={upload:()=>import("./upload-KKGIYMNF.js"),jobs:()=>import("./jobs-DUB72D2S.js"),job:()=>import("./job-OOCZHFU7.js"),viewer:()=>import("./viewer-URHHIIPD.js"),system:()=>import("./system-4ZDDIPVB.js")},Ve={},Q=null;function $t(){return Q??=new Promise((e,t)=>{let n=Object.assign(document.createElement("link"),{rel:"stylesheet",href:"later.css",onload:e});n.onerror=()=>{Q=null,n.remove(),t(new Error("later.css could not be loaded"))},document.head.append(n)}),Q}async function V(e){let[t]=await Promise.all([Y[e](),$t()]);Ve[e]=t.default}var Xe=e=>e in Y&&V(e).catch(()=>{});function Ze(e,t){let n=t[e]??Ve[e]??null,[a,r]=p(null),[i,s]=p(0);m(()=>{if(n)return;let u=!0,l=f=>u&&r({name:e,error:f});return V(e).then(()=>l(null),async()=>{await Te(),l({text:"A part of this page could not be loaded",advice:"Check the network connection. If it happens again, reload the page."})}),()=>{u=!1}},[e,i]);let c=!n&&a?.name===e?a.error:null;return{screen:n,error:c,retry:()=>{r(null),s(u=>u+1)}}}function X(e=Object.keys(Y)){if(e.length===0||navigator.connection?.saveData)return;(globalThis.requestIdleCallback??(n=>setTimeout(n,500)))(()=>V(e[0]).then(()=>X(e.slice(1)),()=>{}),{timeout:5e3})}var z=De({over:!1}),gt=700,et=0;function q(e){clearTimeout(et),e&&(et=setTimeout(q,gt,!1)),z.get().over!==e&&z.set({over:e})}var Z=e=>e instanceof Element&&e.closest('textarea, input:not([type="checkbox"], [type="file"])'),ot=e=>Array.from(e?.types??[]).includes("text/uri-list"),_=!1;function tt(e){_||!K(e.dataTransfer)&&(!ot(e.dataTransfer)||Z(e.target))||(e.preventDefault(),e.dataTransfer.dropEffect="copy",q(!0))}function bt(e){if(q(!1),_)return;let{dataTransfer:t}=e,n=K(t);!n&&(!ot(t)||Z(e.target))||(e.preventDefault(),n?I(Fe(t,a=>U.set({reading:a}))):rt(t.getData("text/uri-list")),B().name!=="new"&&A(x("new")))}function rt(e){let{urls:t,problems:n}=P(e);return t.length===0||n.length>0?!1:(N(t),!0)}function nt(e){let{clipboardData:t}=e;!t||Z(e.target)||document.querySelector("dialog[open]")||(t.files.length>0?(e.preventDefault(),I(qe(t))):rt(t.getData("text/plain"))||U.set({note:"The clipboard has neither an image nor a list of URLs."}))}function at(){m(()=>(document.addEventListener("paste",nt),()=>document.removeEventListener("paste",nt)),[])}globalThis.document&&(addEventListener("dragstart",()=>{_=!0}),addEventListener("dragend",()=>{_=!1}),addEventListener("dragenter",tt),addEventListener("dragover",tt),addEventListener("dragleave",e=>!e.relatedTarget&&q(!1)),addEventListener("drop",bt));var wt=320,vt=200,yt=2,T=new Map,te=new WeakSet,M=[],ee=0;async function kt(e){let t=await createImageBitmap(e),n=Math.min(1,wt/Math.max(t.width,t.height)),a=document.createElement("canvas");a.width=Math.max(1,Math.round(t.width*n)),a.height=Math.max(1,Math.round(t.height*n));let r=a.getContext("2d");return r.imageSmoothingQuality="medium",r.drawImage(t,0,0,a.width,a.height),t.close(),new Promise((i,s)=>{a.toBlob(c=>c?i(URL.createObjectURL(c)):s(new Error("not drawn")),"image/webp",.8)})}async function st(){if(ee>=yt||M.length===0)return;let e=M.shift(),{file:t}=e;ee++;try{let n=T.get(t)??await kt(t);if(T.delete(t),T.set(t,n),e.done(n),T.size>vt){let[a,r]=T.entries().next().value;T.delete(a),URL.revokeObjectURL(r)}}catch{te.add(t),e.done(null)}ee--,st()}function it(e){let[t,n]=p({file:null,src:""});return m(()=>{if(!e||te.has(e))return;let a={file:e,done:r=>n({file:e,src:r})};return M.push(a),st(),()=>{let r=M.indexOf(a);r>=0&&M.splice(r,1),a.done=()=>{}}},[e]),e?te.has(e)?null:t.file===e?t.src:"":""}var lt=24,xt=3.5,ct=new WeakMap,ne=null;function Ct(e,t){return ne??=new IntersectionObserver(n=>{for(let{target:a,isIntersecting:r}of n)ct.get(a)?.(r)},{rootMargin:"1000px"}),ct.set(e,t),ne.observe(e),()=>ne.unobserve(e)}function Et({items:e,start:t,total:n,onRemove:a}){let r=g(null),[i,s]=p(t===0);return m(()=>Ct(r.current,c=>s(c||r.current.contains(document.activeElement))),[]),o`<div ref=${r} class="new-block" role="presentation" style=${{height:`${e.length*xt}rem`}}>
    ${i&&e.map((c,u)=>o`<${Tt} key=${c.id} item=${c} position=${t+u+1} total=${n} onRemove=${a} />`)}
  </div>`}function St({item:e}){let t=it(e.file);return e.url?o`<span class="new-thumb" aria-hidden="true">URL</span>`:o`<span class="new-thumb">${t&&o`<img src=${t} alt="" />`}</span>`}function Tt({item:e,position:t,total:n,onRemove:a}){let r=e.url?new URL(e.url).host:e.path.slice(0,Math.max(0,e.path.length-e.name.length-1));return o`<div class="new-row" role="listitem" aria-posinset=${t} aria-setsize=${n}>
    <label><input type="checkbox" checked=${e.ticked} onChange=${i=>G(e.id,i.currentTarget.checked)} />
      <${St} item=${e} />
      <span class="new-text"><bdi class="new-name" title=${e.path}>${e.name}</bdi>
        <span class="new-facts">${e.sentAt>0&&o`<span class="badge tone-warn"><span aria-hidden="true">⚠</span> already sent ${ge(e.sentAt)}</span> `}
          ${!e.url&&R(e.size)}${r&&o`${!e.url&&" · "}<bdi>${r}</bdi>`}</span></span></label>
    <button type="button" class="plain icon" data-remove=${e.id} aria-label=${`Remove ${e.name}`} onClick=${()=>a(e.id)}><${Lt} /></button>
  </div>`}var Lt=()=>o`<svg class="drawing" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d="M4 4l8 8M12 4l-8 8" /></svg>`;function ut({items:e}){let t=g(null),n=g(null),[a,r]=p(0),i=e.filter(l=>l.ticked).length,s=e.filter(l=>l.sentAt>0);L(()=>{t.current.indeterminate=i>0&&i<e.length}),L(()=>{a&&((n.current.querySelector(`[data-remove="${a}"]`)??t.current).focus(),r(0))},[a]);let c=l=>{let f=e.findIndex(v=>v.id===l),h=e[f+1]??e[f-1];S([l]),h&&r(h.id),w("Removed")},u=[];for(let l=0;l<e.length;l+=lt)u.push(l);return o`<div class="new-list">
    <div class="new-all">
      <label><input ref=${t} type="checkbox" checked=${i===e.length} onChange=${l=>G(null,l.currentTarget.checked)} />
        <span>${i===e.length?"All":`${C(i)} of ${C(e.length)}`} selected</span></label>
      ${s.length>0&&s.length<e.length&&o`<button type="button" class="plain" onClick=${()=>S(s.map(l=>l.id))}>Remove ${b(s.length,"sent one")}</button>`}
      <button type="button" class="plain" onClick=${()=>S()}>Remove all</button>
    </div>
    <div ref=${n} role="list" aria-label="Chosen images">
      ${u.map(l=>o`<${Et} key=${l} items=${e.slice(l,l+lt)} start=${l} total=${e.length} onRemove=${c} />`)}
    </div>
  </div>`}function dt({onAdd:e,onClose:t}){let[n,a]=p(""),[r,i]=p(!1),s=g(null),[c,u,l]=[j(),j(),j()],{urls:f,problems:h}=P(n);return o`<${ve} title="Add URLs" wide onClose=${t}>
    <form onSubmit=${$=>{$.preventDefault(),i(!0),h.length===0&&f.length>0?e(f):s.current.focus()}}>
      <label for=${c}>One URL in each line</label>
      <textarea id=${c} ref=${s} class="mono new-urls" rows="8" spellcheck=${!1} autofocus value=${n} aria-invalid=${r&&h.length>0}
        aria-describedby=${`${u} ${l}`} onInput=${$=>a($.currentTarget.value)}></textarea>
      <p id=${u} class="faint">The gateway downloads them. It must be able to reach them without a login.</p>
      <div id=${l} class="field-error">
        ${r&&f.length+h.length===0&&"Enter at least one URL."}
        ${r&&h.length>0&&o`<ul>${h.slice(0,5).map(({line:$,text:y,reason:D})=>o`<li key=${$}>Line ${$} ${D}: <bdi class="mono">${y}</bdi></li>`)}
          ${h.length>5&&o`<li>${b(h.length-5,"more line has a problem","more lines have a problem")}</li>`}</ul>`}
      </div>
      <div class="dialog-foot"><button type="button" onClick=${t}>Cancel</button>
        <button type="submit" class="primary">${f.length>0?`Add ${b(f.length,"URL")}`:"Add"}</button></div>
    </form>
  <//>`}function oe({limits:e,caller:t}){let{items:n,refused:a,note:r,reading:i}=U.use(),{upload:s}=Ae.use(),[c,u]=p(!1),[l,f]=p(se("captions",!0)),h=Mt(s),v=g(null),$=g(null);at(),m(()=>Pe(d=>{d.jobs.length!==0&&(d.seen=!0,A(We(d)))}),[]);let y=ce(d=>(d==="folder"?$:v).current.click(),[]),D=d=>{I(_e(d.currentTarget)),d.currentTarget.value=""},k=n.filter(d=>d.ticked),ae=k.reduce((d,ht)=>d+ht.size,0),F=s&&s.state!=="done",pt=t?.captions!==!1,ft=()=>{Ne(k,{captions:e.captions&&!l?!1:void 0,maxImages:e.max_images}),S(k.map(d=>d.id))},mt=d=>{f(d),ie("captions",d?null:!1)};return o`<${E} title=${Qe(s)||"Send images"}>Send images<//>
    ${F?o`<${W} upload=${s} />`:h.upload&&o`<${Ge} ...${h} onChoose=${y} />`}
    ${!F&&s&&!s.seen&&o`<${W} upload=${s} />`}
    <section class=${be("new-drop",n.length>0&&"small")} aria-label="Choose images">
      ${n.length===0&&o`<${Ut} />`}
      <p class="new-hint">Drop images or folders anywhere on this page, or paste them.</p>
      <div class="row">
        <button type="button" class=${n.length===0?"primary":""} onClick=${()=>y("files")}>Choose files</button>
        ${Rt&&o`<button type="button" onClick=${()=>y("folder")}>Choose folder</button>`}
        <button type="button" onClick=${()=>u(!0)}>Add URLs</button>
      </div>
      ${n.length===0&&o`<p class="faint">JPEG and PNG, up to ${R(e.max_image_bytes)} each. Any number: they are sent in batches of up to ${b(e.max_images,"image")}.</p>`}
      <input ref=${v} type="file" hidden multiple accept="image/jpeg,image/png" onChange=${D} />
      <input ref=${$} type="file" hidden multiple webkitdirectory onChange=${D} />
    </section>
    ${i!==null&&o`<p class="new-reading">Reading files${i>0&&`: ${C(i)} so far`}…</p>`}
    ${r&&o`<p class="note new-note">${r}</p>`}
    <${Je} refused=${a} limit=${e.max_image_bytes} />
    ${n.length>0&&o`<${ut} items=${n} />
      <div class="new-send">
        <${Ke} captions=${e.captions} allowed=${pt} images=${k.length} value=${l} onChange=${mt} />
        <div class="row"><span class="new-count">${b(k.length,"image")}${ae>0&&` · ${R(ae)}`}</span>
          ${F?o`<span>${Oe(s)?"You can send these when the upload above has ended.":"Continue or end the upload above first."}</span>`:o`<button type="button" class="primary" disabled=${k.length===0||i!==null} onClick=${ft}>Send ${C(k.length)}</button>`}</div>
      </div>`}
    ${c&&o`<${dt} onClose=${()=>u(!1)} onAdd=${d=>{u(!1),N(d)}} />`}
    <${It} />`}var Rt=globalThis.document&&"webkitdirectory"in document.createElement("input")&&!matchMedia("(hover: none) and (pointer: coarse)").matches,Ut=()=>o`<svg class="new-picture" viewBox="0 0 48 40" width="72" height="60" aria-hidden="true"><rect x="1.5" y="1.5" width="45" height="37" rx="4" /><circle cx="14" cy="13" r="4" /><path d="M3 33l12-12 8 8 9-11 13 15" /></svg>`;function It(){let{over:e}=z.use();return e?o`<div class="new-over" aria-hidden="true"><span>Drop to add</span></div>`:null}function Mt(e){let[t,n]=p({upload:null,found:new Map,changed:[]}),a=!e||e.state==="done";m(()=>{let i=!1;return a&&Be().then(s=>!i&&n({upload:s,found:new Map,changed:[]})),()=>{i=!0}},[a]);let r=g(t);return r.current=t,m(()=>He(i=>{let{upload:s,found:c}=r.current;if(!s||s.complete)return i;let u={parts:s.parts.map($=>$.jobId?$:{...$,items:$.items.filter(y=>!c.has(y))})},{used:l,rest:f,changed:h}=Me(u,i),v={upload:s,found:new Map([...c,...l]),changed:h};return r.current=v,n(v),l.size>0&&w(`${b(l.size,"file")} of the interrupted upload found`),f}),[]),{...t,onSend:()=>{n({upload:null,found:new Map,changed:[]}),ze(t.upload,t.found)},onForget:()=>{je(t.upload.id),n({upload:null,found:new Map,changed:[]})}}}/*! Imagebatch, Apache-2.0. It includes:
htm 3.1.1, Copyright 2018 Google Inc., Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0
Preact 11.2.0, MIT License:
Copyright (c) 2015-present Jason Miller
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:
The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */var Dt={new:oe,unknown:Nt},jt=({name:e,params:t})=>`${e} ${t.id??""}`;function Bt(){let e=Re(),{data:t,error:n,reload:a}=Se(pe),r=Ce(t?.keys);return o`
    <${zt} route=${e} keys=${t?.keys} caller=${r} />
    <${Ft} />
    <${Ht} />
    <${Ye} route=${e} />
    <main id="main" tabindex="-1">
      ${t?o`<${Ot} route=${e} limits=${t} caller=${r} />`:n?o`<${H} error=${n} title="The limits of the gateway could not be read" retry=${a} />`:o`<${J} />`}
    </main>
    <${we} />
    <${xe} />
    <${ye} />`}function At(e){e.preventDefault(),document.getElementById("main").focus()}function Ot({route:e,limits:t,caller:n}){let{screen:a,error:r,retry:i}=Ze(e.name,Dt);return r?o`<${E}>Not loaded<//><${H} error=${r} retry=${i} />`:a?o`<${Pt} key=${jt(e)} screen=${a} route=${e} limits=${t} caller=${n} />`:o`<${J} />`}var re=!1;function Pt({screen:e,route:t,limits:n,caller:a}){let[r,i]=ue(s=>console.error(s));return m(()=>{let s=document.getElementById("main");if(re&&!s.contains(document.activeElement)&&!document.querySelector("dialog[open]")){scrollTo(0,0);let c=s.querySelector("[data-heading]")??s;c.focus({preventScroll:!0}),c===s&&w(document.title)}re||X(),re=!0},[]),r?o`<${E}>Something went wrong<//><div class="note bad"><p><bdi>${String(r.message??r)}</bdi></p>
      <button type="button" onClick=${i}>Show it again</button></div>`:o`<${e} params=${t.params} query=${t.query} limits=${n} caller=${a} />`}function Nt(){return o`<${E}>Page not found<//><${ke} title="There is nothing at this address.">
    <a href=${x("new")}>Send images</a> or see the <a href=${x("jobs")}>list of jobs</a>.<//>`}function zt({route:e,keys:t,caller:n}){let a=de(),r=he(t===!1||!!a),i=r?r.pending+r.processing:0,s=i?` (${["pending","processing"].some(u=>r.at_least?.includes(u))?$e({open:i,at_least:["open"]},"open"):i} open)`:"",c=(u,l,f)=>o`<a href=${x(u)} aria-current=${l.includes(e.name)?"page":void 0}>${f}</a>`;return o`<header class="bar">
    <a class="skip" href=${e.hash||"#/"} onClick=${At}>Skip to the content</a>
    <a class="brand" href=${x("new")}><img src="icon.svg" alt="" width="24" height="24" />Imagebatch</a>
    <nav aria-label="Main">
      ${c("new",["new","upload"],"New")}
      ${c("jobs",["jobs","job","viewer"],`Jobs${s}`)}
      ${n?.operator!==!1&&(n||t===!1)&&c("system",["system"],"System")}
    </nav>
    <div class="bar-end"><${qt} />${(t||a)&&o`<${Ee} name=${n?.name} />`}</div>
  </header>`}var _t={auto:"◐",light:"☀",dark:"☾"};function qt(){let[e,t]=Ie(),n=O[(O.indexOf(e)+1)%O.length];return o`<button type="button" class="plain" title="Change the theme" onClick=${()=>{t(n),w(`Theme: ${n}`)}}><span aria-hidden="true">${_t[e]}</span> <span><span class="visually-hidden">Theme: </span>${e}</span></button>`}function Ft(){let[e,t]=p(fe()),n=g(e);return m(()=>me(t),[]),L(()=>{n.current!==e&&w(e?"Connected to the gateway again":"No connection to the gateway"),n.current=e},[e]),e?null:o`<div class="banner" role="region" aria-label="Connection">No connection to the gateway. The page tries again by itself; what you see may be old.</div>`}function Ht(){let e=Le();return m(()=>{e&&w("Imagebatch was updated. Reload the page.")},[e]),e?o`<div class="banner row" role="region" aria-label="Update">Imagebatch was updated. <button type="button" onClick=${()=>location.reload()}>Reload the page</button></div>`:null}Ue();Xe(B().name);le(o`<${Bt} />`,document.getElementById("app"));
