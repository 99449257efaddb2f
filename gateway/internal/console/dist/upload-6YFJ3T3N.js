import{A as O,d as k,f as A,z as B}from"./chunk-7ZRS4MZJ.js";import"./chunk-IXNNZO6P.js";import{G as u,H as $,P as T,S as p,T as J,X as S,Z as E,da as _,ea as v,ga as L,ha as U,i as m,ia as x,ja as I,k as y,na as P,p as i,sa as f}from"./chunk-AWRWBCH7.js";var N=2e3,R=1e4;function q(s){let a=n=>s.reduce((d,o)=>d+o[n],0),e={total_images:a("total_images"),completed:a("completed"),failed:a("failed")},l=new Set(s.map(n=>n.status));return s.every(p)?l.size===1?[e.status]=l:e.status=e.completed>0?"completed":l.has("cancelled")?"cancelled":"failed":e.status=s.some(n=>n.status!=="pending")?"processing":"pending",e}function C(s,a){let e=P(t=>k(s,{signal:t}),[s]),{data:l,loading:n,reload:d}=e,o=l?.some(t=>!p(t))??!1;m(()=>{if(!o||n)return;let t=0,r=()=>{clearTimeout(t),t=setTimeout(d,document.visibilityState==="visible"?N:R)};return r(),document.addEventListener("visibilitychange",r),()=>{clearTimeout(t),document.removeEventListener("visibilitychange",r)}},[o,n]);let c=y(a);return m(()=>{c.current!==a&&d(),c.current=a},[a]),e}function H({params:s}){let{upload:a}=A.use(),e=a?.id===s.id?a:null,{data:l,error:n,reload:d}=C(s.id,e?.jobs.length??0),o=l?.filter(h=>!h.retry_of)??[],c=l?.filter(h=>h.retry_of)??[],t=q(o),r=o.length>0&&o.every(p)&&(!e||e.state==="done"),j=y(null);m(()=>{j.current===!1&&r&&S(`All images are processed${t.failed>0?`, ${t.failed} failed`:""}`),l&&(j.current=r)},[r,l]),m(()=>{e?.state==="done"&&(e.seen=!0)},[e?.state]);let g=e?.label??o[0]?.metadata.label,b=Math.max(t.total_images,e&&e.state!=="done"?e.images:0),w=t.completed+t.failed,M=B(e)||(b>w?`${u(w)} of ${u(b)}`:"");return i`<${E} title=${[M,g??"Upload"].filter(Boolean).join(" · ")}>Upload ${g&&i`<bdi>${g}</bdi>`}<//>
    ${e&&i`<${O} upload=${e} />`}
    <${U} error=${n} title="The jobs could not be loaded" retry=${d} />
    ${!l&&!n&&i`<${x} />`}
    ${l&&o.length===0&&!e&&i`<${L} title="This upload has no jobs.">
      They were deleted, or belong to another API key. See the <a href=${f("jobs")}>list of jobs</a>, or <a href=${f("new")}>send images</a>.<//>`}
    ${o.length>0&&i`
      <p class="upload-state"><${v} job=${t} /> ${$(t.total_images,"image")} in ${$(o.length,"job")} · <${I} value=${o[0].created_at} /></p>
      <${_} job=${{...t,total_images:b}} />
      <${z} jobs=${o} label="Jobs of this upload" />`}
    ${c.length>0&&i`<h2>Images processed again</h2><${z} jobs=${c} label="Jobs with images processed again" />`}`}function z({jobs:s,label:a}){return i`<ol class="list upload-jobs" aria-label=${a}>${s.map(e=>i`<li key=${e.job_id}>
    <a href=${f("job",{id:e.job_id})}>Job <span class="mono">${T(e.job_id)}</span></a>
    <span class="upload-images">${$(e.total_images,"image")}</span>
    <${v} job=${e} />
    ${J(e)>0&&i`<${_} job=${e} />`}
    ${e.failed>0&&i`<a class="upload-failed" href=${f("job",{id:e.job_id},{show:"failed"})}>Show the ${u(e.failed)} failed</a>`}
  </li>`)}</ol>`}export{H as default};
