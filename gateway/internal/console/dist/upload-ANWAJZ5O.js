import{$ as f,M as l,R as d,V as p,W as $,ea as u,k as o,n as a,z as m}from"./chunk-UWH2LT27.js";function s({params:i}){let{data:t,error:e,reload:n}=f(r=>a("GET","api/v1/batch",{query:{upload:i.id,view:"summary",limit:100},signal:r}).then(g=>g.data),[i.id]);return o`<${l}>Upload<//>
    <${p} error=${e} retry=${n} />
    ${!t&&!e&&o`<${$} />`}
    ${t&&o`<ul class="list">${t.jobs.map(r=>o`<li key=${r.job_id}>
      <a href=${u("job",{id:r.job_id})}>${m(r.total_images,"image")}</a> <${d} job=${r} /></li>`)}</ul>`}`}export{s as default};
