import{A as R,d as A,f as G,z as M}from"./chunk-U6CDL6SB.js";import{a as z,c as J,d as C,l as F}from"./chunk-3W6L35LX.js";import"./chunk-IXNNZO6P.js";import"./chunk-PG6J55LN.js";import{H as u,I as $,Q as x,T as b,U,Y as q,_ as B,ea as E,fa as S,ha as y,i as p,ia as w,ja as N,k as h,ka as O,oa as j,p as i,r as P,s as k,ta as c}from"./chunk-FTIS2BHV.js";var H=20,I=({job_id:a,status:r,completed:e,failed:t})=>[a,r,e,t].join();function V(a){let r=h(new Map),{error:e,reload:t}=j(s=>Promise.all(a.map(async d=>{let m=r.current.get(d.job_id);if(m&&I(m)===I(d))return;let{data:o}=await k("GET",P(d.job_id),{signal:s,background:!0});z(m,o),r.current.set(d.job_id,o)})),[a.map(I).join()]);return{whole:a.map(s=>r.current.get(s.job_id)).filter(Boolean),error:e,reload:t}}function W({id:a,jobs:r,query:e}){let{whole:t,error:s,reload:d}=V(r.slice(0,H)),m=e.get("show")??"all",o=m in J?m:"all",l=r.slice(H),n=f=>c("upload",{id:a},{show:f});return i`<${w} error=${s} title="The images could not be loaded" retry=${d} />
    ${t.length>0&&i`<div class="row job-bar"><${C} jobs=${t} show=${o} href=${n} /></div>
      <${F} jobs=${t} filter=${o} query=${o==="all"?{}:{show:o}}><${y} title=${`No image here: none is in “${J[o].word}”.`}><a href=${n(null)}>Show all images</a><//><//>`}
    ${l.length>0&&i`<p>${u(l.reduce((f,g)=>f+g.total_images,0))} more images are in the last ${$(l.length,"job")} of the list above.</p>`}`}var X=2e3,Y=1e4;function Z(a){let r=s=>a.reduce((d,m)=>d+m[s],0),e={total_images:r("total_images"),completed:r("completed"),failed:r("failed")},t=new Set(a.map(s=>s.status));return a.every(b)?t.size===1?[e.status]=t:e.status=e.completed>0?"completed":t.has("cancelled")?"cancelled":"failed":e.status=a.some(s=>s.status!=="pending")?"processing":"pending",e}function ee(a,r){let e=j(l=>A(a,{signal:l}),[a]),{data:t,loading:s,reload:d}=e,m=t?.some(l=>!b(l))??!1;p(()=>{if(!m||s)return;let l=0,n=()=>{clearTimeout(l),l=setTimeout(d,document.visibilityState==="visible"?X:Y)};return n(),document.addEventListener("visibilitychange",n),()=>{clearTimeout(l),document.removeEventListener("visibilitychange",n)}},[m,s]);let o=h(r);return p(()=>{o.current!==r&&d(),o.current=r},[r]),e}function K({params:a,query:r}){let{upload:e}=G.use(),t=e?.id===a.id?e:null,{data:s,error:d,reload:m}=ee(a.id,t?.jobs.length??0),o=s?.filter(T=>!T.retry_of)??[],l=s?.filter(T=>T.retry_of)??[],n=Z(o),f=o.length>0&&o.every(b)&&(!t||t.state==="done"),g=h(null);p(()=>{g.current===!1&&f&&q(`All images are processed${n.failed>0?`, ${n.failed} failed`:""}`),s&&(g.current=f)},[f,s]),p(()=>{t?.state==="done"&&(t.seen=!0)},[t?.state]);let _=t?.label??o[0]?.metadata.label,v=Math.max(n.total_images,t&&t.state!=="done"?t.images:0),L=n.completed+n.failed,Q=M(t)||(v>L?`${u(L)} of ${u(v)}`:"");return i`<${B} title=${[Q,_??"Upload"].filter(Boolean).join(" · ")}>Upload ${_&&i`<bdi>${_}</bdi>`}<//>
    ${t&&i`<${R} upload=${t} />`}
    <${w} error=${d} title="The jobs could not be loaded" retry=${m} />
    ${!s&&!d&&i`<${N} />`}
    ${s&&o.length===0&&!t&&i`<${y} title="This upload has no jobs.">
      They were deleted, or belong to another API key. See the <a href=${c("jobs")}>list of jobs</a>, or <a href=${c("new")}>send images</a>.<//>`}
    ${o.length>0&&i`
      <p class="upload-state"><${S} job=${n} /> ${$(n.total_images,"image")} in ${$(o.length,"job")} · <${O} value=${o[0].created_at} /></p>
      <${E} job=${{...n,total_images:v}} />
      ${o.length+l.length>1&&i`<details class="upload-parts"><summary>${$(o.length,"job")}${l.length>0&&` and ${u(l.length)} with images processed again`}</summary>
        <${D} jobs=${o} label="Jobs of this upload" />
        ${l.length>0&&i`<h2>Images processed again</h2><${D} jobs=${l} label="Jobs with images processed again" />`}
        <p><a href=${c("jobs",{},{upload:a.id})}>Choose among these jobs</a> to cancel them or to retry failed images.</p></details>`}
      <${W} id=${a.id} jobs=${o} query=${r} />`}`}function D({jobs:a,label:r}){return i`<ol class="list upload-jobs" aria-label=${r}>${a.map(e=>i`<li key=${e.job_id}>
    <a href=${c("job",{id:e.job_id})}>Job <span class="mono">${x(e.job_id)}</span></a>
    <span class="upload-images">${$(e.total_images,"image")}</span>
    <${S} job=${e} />
    ${U(e)>0&&i`<${E} job=${e} />`}
    ${e.failed>0&&i`<a class="upload-failed" href=${c("job",{id:e.job_id},{show:"failed"})}>Show the ${u(e.failed)} failed</a>`}
  </li>`)}</ol>`}export{K as default};
